"""Zips with everything in them that a stranger could put there."""

import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from pipeline.acquire import unzip
from pipeline.acquire.sources import Layout, SourceError

SIZES = {"wav/a.wav": 1000, "wav/b.wav": 1000}
LAYOUT = Layout(SIZES, frozenset({"erkennung.txt"}))
A, B = b"a" * 1000, bytes(range(250)) * 4


def pack(path, members, method=zipfile.ZIP_DEFLATED):
    """Write a zip of names, or ZipInfos, and contents."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def unpack(path, members, **options):
    """Unpack such a zip; give what is there then."""
    unzip.unpack_zip(pack(path / "x.zip", members, **options), path / "out", LAYOUT)
    return {each.relative_to(path / "out").as_posix(): each.read_bytes() for each in path.glob("out/*/*")}


def link(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def device(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o020666 << 16
    return info


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("above", ["", "EmoDB/", "16k/emodb/"])
def test_files_go_to_their_places_whatever_is_above_them(tmp_path, above, method):
    members = [(f"{above}wav/a.wav", A), (f"{above}wav/b.wav", B)]
    assert unpack(tmp_path, members, method=method) == {"wav/a.wav": A, "wav/b.wav": B}


def test_only_what_is_wanted_is_taken(tmp_path):
    others = ["lablaut/a.lab", "__MACOSX/wav/._a.wav", "wav/.DS_Store", "wav/c.wav", "setup.exe", "wav/"]
    members = [
        ("__MACOSX/wav/a.wav", B),
        ("WAV/A.WAV", A),
        ("wav\\b.wav", B),
        ("erkennung.txt", b"Satz"),
        *((name, b"") for name in others),
    ]
    assert unpack(tmp_path, members) == {"wav/a.wav": A, "wav/b.wav": B}
    assert (tmp_path / "out/erkennung.txt").read_bytes() == b"Satz"
    assert len(list(tmp_path.glob("out/**/*.*"))) == 3


def test_of_a_tree_that_is_there_twice_the_copy_of_the_published_size_is_taken(tmp_path):
    members = [("wav/a.wav", A[:-1]), ("again/wav/a.wav", A), ("wav/b.wav", B), ("again/wav/b.wav", B[::-1])]
    assert unpack(tmp_path, members) == {"wav/a.wav": A, "wav/b.wav": B}


@pytest.mark.parametrize(
    ("member", "fault"),
    [
        ("../wav/a.wav", "a path that leads outside"),
        ("wav/../../../a.wav", "a path that leads outside"),
        ("wav\\..\\..\\a.wav", "a path that leads outside"),
        ("/etc/wav/a.wav", "an absolute path"),
        ("\\\\server\\wav\\a.wav", "an absolute path"),
        ("C:\\wav\\a.wav", "an absolute path"),
        ("c:wav/a.wav", "an absolute path"),
        ("wav/a\n.wav", "a name with control characters"),
        (link("wav/a.wav"), "a link or a device"),
        (device("wav/other"), "a link or a device"),
    ],
)
def test_what_no_honest_archive_holds_makes_the_whole_of_it_refused(tmp_path, member, fault):
    with pytest.raises(SourceError, match=rf"x\.zip holds '.*', {fault}: nothing of it was unpacked\.$"):
        unpack(tmp_path, [("wav/b.wav", B), (member, b"/etc/passwd")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zip"]


@pytest.mark.parametrize("name", ["wav/A.wav", "wav/a.wav"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_is_refused(tmp_path, name):
    with pytest.raises(SourceError, match="twice, or differing in case only"):
        unpack(tmp_path, [("wav/a.wav", A), (name, B)])


def test_an_encrypted_archive_is_refused(tmp_path):
    path = pack(tmp_path / "x.zip", [("wav/a.wav", A)])
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"holds 'wav/a\.wav', which is encrypted: "):
        unzip.unpack_zip(path, tmp_path / "out", LAYOUT)


def test_a_packing_that_is_not_deflate_is_refused(tmp_path):
    with pytest.raises(SourceError, match="packed by method 14, not by deflate"):
        unpack(tmp_path, [("wav/a.wav", A)], method=zipfile.ZIP_LZMA)


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unzip, "MEMBERS", 2)
    with pytest.raises(SourceError, match="holds 3 members, more than the 2 allowed: not unpacked"):
        unpack(tmp_path, [(f"{number}.txt", b"") for number in range(3)])


def test_a_bomb_ends_at_the_published_size(tmp_path):
    bomb = bytes(20_000_000)  # 20 kB packed
    with pytest.raises(SourceError, match=r"x\.zip holds 'wav/a\.wav' with more than the 1,000 bytes it should have: "):
        unpack(tmp_path, [("wav/a.wav", bomb)])
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.wav")) == 0
    with pytest.raises(SourceError, match=r"'erkennung\.txt' with more than the 1,048,576 bytes it should have"):
        unpack(tmp_path, [("erkennung.txt", bomb)])


def test_a_bomb_that_lies_about_its_size_ends_there_too(tmp_path):
    path = pack(tmp_path / "x.zip", [("wav/a.wav", bytes(20_000_000))])
    content = bytearray(path.read_bytes())
    for offset in (22, content.index(b"PK\x01\x02") + 24):  # declared size, in both headers
        content[offset : offset + 4] = struct.pack("<L", 1000)
    path.write_bytes(content)
    with pytest.raises(SourceError, match="is a damaged zip"):
        unzip.unpack_zip(path, tmp_path / "out", LAYOUT)
    assert sum(each.stat().st_size for each in (tmp_path / "out").rglob("*.wav")) <= 1000


def test_a_flipped_bit_is_found(tmp_path):
    path = pack(tmp_path / "x.zip", [("wav/b.wav", B)], zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"is a damaged zip \(Bad CRC-32 for file 'wav/b\.wav'\): fetch it again"):
        unzip.unpack_zip(path, tmp_path / "out", LAYOUT)


def test_a_directory_that_points_before_the_file_is_damaged(tmp_path):
    path = pack(tmp_path / "x.zip", [("wav/b.wav", B)])
    content = bytearray(path.read_bytes())
    where = content.index(b"PK\x05\x06") + 16
    content[where : where + 4] = struct.pack("<L", struct.unpack_from("<L", content, where)[0] + 10)
    path.write_bytes(content)
    with pytest.raises(SourceError, match="is a damaged zip"):
        unzip.unpack_zip(path, tmp_path / "out", LAYOUT)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_zip_that_ends_too_early_is_damaged(tmp_path, share):
    path = pack(tmp_path / "x.zip", [("wav/b.wav", B)])
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    with pytest.raises(SourceError, match=r"is (a damaged zip|no zip, it begins b'')"):
        unzip.unpack_zip(path, tmp_path / "out", LAYOUT)


def test_a_page_instead_of_a_zip_is_quoted(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"<html>Please log in")
    with pytest.raises(SourceError, match="is no zip, it begins b'<html>Please log in': fetch it again"):
        unzip.unpack_zip(tmp_path / "x.zip", tmp_path / "out", LAYOUT)


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_whatever_ends_in_anything_but_files_or_a_sentence(tmp_path, seed):
    rng = np.random.default_rng(seed)
    path = pack(tmp_path / "x.zip", [("wav/a.wav", A), ("wav/b.wav", B)])
    content = bytearray(path.read_bytes())
    for place in rng.integers(len(content), size=3):
        content[place] = rng.integers(256)
    path.write_bytes(content)
    with suppress(SourceError):
        unzip.unpack_zip(path, tmp_path / "out", LAYOUT)
    for file in (tmp_path / "out").rglob("*.wav"):
        assert file.stat().st_size <= 1000
