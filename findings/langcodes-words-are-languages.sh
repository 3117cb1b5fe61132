#!/usr/bin/env bash
# langcodes 3.5.1 with language_data 1.3.0: find() takes ordinary English words for languages.
#
# A column "language" that people filled in freely holds remarks beside names. One would guess that
# find() raises LookupError for words that name no language. Rare languages are called as ordinary
# words are: "the" gives thx, "a" gives auq, and "some French" gives faa, one of whose names is
# "Some". Nothing in the answer tells these from real names. What to do: take an answer only where
# its own display name is what was asked for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langcodes==3.5.1 language_data==1.3.0
"$folder/env/bin/python" - <<'PYTHON'
import langcodes

found = {text: str(langcodes.find(text)) for text in ("French", "the", "a", "some French")}
print(found)
assert found["French"] == "fr"
assert found["some French"] != "fr"
for word in ("the", "a"):
    assert langcodes.Language.get(found[word]).is_valid()
print("seen: ordinary words name languages, and 'some French' is not French")
PYTHON
