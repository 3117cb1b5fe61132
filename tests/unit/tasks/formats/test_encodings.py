import codecs

import pytest

from esm.common.errors import TaskError
from esm.tasks.formats.encodings import decode, read_text

SLOVAK = (
    "Vakcína je vraj nebezpečná a spôsobuje ťažké choroby, tvrdia ľudia na sociálnej sieti.\n"
    "Žiadne dôkazy o tom, že rúška škodia, neexistujú; ďalšie šírenie kôrovej horúčky.\n"
)
WRITTEN = {
    "cp1250": [
        SLOVAK,
        "Příliš žluťoučký kůň úpěl ďábelské ódy, řekl lékař.\n",
        "Zażółć gęślą jaźń: szczepionka jest niebezpieczna.\n",
        "Az oltás veszélyes, őszintén szólva űrhajó sem kell.\n",
        "Cjepivo je opasno i uzrokuje teške bolesti, kažu liječnici; čuće se đavolje priče.\n",
    ],
    "iso8859_2": [
        SLOVAK,
        "Příliš žluťoučký kůň úpěl ďábelské ódy, řekl lékař, že šířit.\n",
        "Zażółć gęślą jaźń: szczepionka jest niebezpieczna.\n",
    ],
    "cp1251": [
        "Ваксината е опасна и причинява тежки заболявания.\n",
        "Прививка опасна и вызывает тяжёлые болезни.\n",
    ],
    "cp1252": [
        "Die Impfung ist gefährlich, große Maßnahmen für Bürger.\n",
        "La vaccination est dangereuse, les médecins le cachent très bien où ça arrive.\n",
        "A vacinação não é perigosa; as informações estão nos órgãos.\n",
        "¿Por qué? El niño está enfermo y mañana habrá más.\n",
        "Vaccinet är farligt och orsakar svåra sjukdomar för många.\n",
    ],
}


def write(tmp_path, content):
    path = tmp_path / "posts.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("encoding", "text"),
    [(encoding, text) for encoding, texts in WRITTEN.items() for text in texts],
)
def test_texts_without_a_mark_come_back_whole(tmp_path, encoding, text):
    path = write(tmp_path, ("text;label\n" + text).encode(encoding))
    assert decode(path).text == "text;label\n" + text


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1250", "iso8859_2"]
)
def test_a_slovak_text_in_every_encoding(tmp_path, encoding):
    decoded = decode(write(tmp_path, SLOVAK.encode(encoding)))
    assert (decoded.text, decoded.encoding) == (SLOVAK, encoding)


def test_both_byte_orders(tmp_path):
    for mark, encoding in [
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ]:
        assert decode(write(tmp_path, mark + SLOVAK.encode(encoding))).text == SLOVAK


def test_the_encoding_named_comes_first(tmp_path):
    path = write(tmp_path, "ž".encode("iso8859_2"))
    assert decode(path, "iso8859_2").text == "ž"
    assert decode(path, "cp1250").text == "ľ"
    marked = write(tmp_path, "čaj".encode("utf-8-sig"))
    assert decode(marked, "utf-8").text == "čaj"


def test_what_was_found_out_is_said_unless_it_is_utf8(tmp_path, caplog):
    path = write(tmp_path, SLOVAK.encode("cp1250"))
    assert read_text(path) == SLOVAK
    assert caplog.messages == ["posts.csv: read as cp1250; --encoding names another one"]
    caplog.clear()
    read_text(path, "cp1250")
    read_text(write(tmp_path, SLOVAK.encode("utf-8-sig")))
    assert not caplog.messages


def test_a_file_that_is_not_in_the_encoding_named(tmp_path):
    path = write(tmp_path, b"text\n" + "tajné č".encode("cp1250"))
    with pytest.raises(TaskError, match=r"is not utf-8: byte 0xe9 in line 2; .*--enc") as caught:
        decode(path, "utf-8")
    assert "tajn" not in str(caught.value)
    with pytest.raises(TaskError, match="encoding 'cp1520' is unknown; expected a text encoding"):
        decode(path, "cp1520")
    with pytest.raises(TaskError, match="'base64' is unknown"):
        decode(path, "base64")


def test_a_damaged_file_in_utf8_is_not_taken_for_another_encoding(tmp_path):
    content = SLOVAK.encode() + b"\xe8" + SLOVAK.encode()
    with pytest.raises(TaskError, match=r"UTF-8 with damage: byte 0xe8 in line 3; .*--encoding"):
        decode(write(tmp_path, content))


def test_bytes_that_are_no_text(tmp_path):
    with pytest.raises(
        TaskError, match=r"neither UTF-8 \(byte 0x80 in line 1\) nor, by its letters, one"
    ):
        decode(write(tmp_path, bytes(range(128, 256)) * 20))
    with pytest.raises(TaskError, match=r"holds zero bytes; .* --encoding utf-16-le"):
        decode(write(tmp_path, "text\n".encode("utf-16-le")))
    with pytest.raises(TaskError, match="holds zero bytes"):
        decode(write(tmp_path, "žltý kôň\n".encode("utf-16-be")))
