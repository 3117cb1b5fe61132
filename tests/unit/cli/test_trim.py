import json

from typer.testing import CliRunner

from esm.cli.app import app
from tests.tiny_models import save_tiny


def trim(*options, code=0):
    result = CliRunner().invoke(app, ["--quiet", "trim", *map(str, options)])
    assert result.exit_code == code, result.output
    return result


def test_a_vocabulary_is_trimmed_to_the_corpora(tmp_path):
    base = save_tiny("xlm-roberta", tmp_path / "base")
    (tmp_path / "a.txt").write_text("the film was good\n")
    (tmp_path / "b.csv").write_text("text\nvery bad\n")
    corpora = (tmp_path / "a.txt", tmp_path / "b.csv")
    result = trim(base, *corpora, "--out", tmp_path / "out", "--pieces", 60, "--json")
    found = json.loads(result.stdout)
    assert found["pieces"] < found["pieces_before"]
    assert found["folder"] == str(tmp_path / "out")
    assert "tokens per word" in trim(base, *corpora, "--out", tmp_path / "again").stdout


def test_a_corpus_without_texts_is_an_error(tmp_path):
    base = save_tiny("xlm-roberta", tmp_path / "base")
    result = trim(base, tmp_path / "none.txt", "--out", tmp_path / "out", code=1)
    assert "none.txt" in result.output
    assert not (tmp_path / "out").exists()
