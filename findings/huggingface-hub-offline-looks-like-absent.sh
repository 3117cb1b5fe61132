#!/usr/bin/env bash
# huggingface_hub 2.4.0: a file that cannot be looked up offline is an EntryNotFoundError.
#
# Code that asks a model for an optional file (a pooling or prompt declaration) catches
# EntryNotFoundError, "the model has no such file". One would guess that a missing network is another
# error. LocalEntryNotFoundError, raised where the Hub is not asked and the file is not in the cache,
# is a subclass of it, so offline the same code takes a model for one that declares nothing, and
# computes other embeddings without a word. What to do: catch LocalEntryNotFoundError first, and tell
# absence that is known from absence that is not by try_to_load_from_cache.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" "$folder/env/bin/python" - <<'PYTHON'
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

try:
    hf_hub_download("sentence-transformers/all-MiniLM-L6-v2", "1_Pooling/config.json")
except EntryNotFoundError as error:
    seen = type(error).__name__
known = try_to_load_from_cache("sentence-transformers/all-MiniLM-L6-v2", "1_Pooling/config.json")
print(f"caught as EntryNotFoundError: {seen}; known to the cache: {known}")
assert seen == "LocalEntryNotFoundError"
assert known is None  # neither a path nor the mark of a file that is known to be absent
print("seen: offline, a file that the model has is reported as one that it lacks")
PYTHON
