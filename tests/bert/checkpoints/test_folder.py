"""Promises of ``ilit_bert.checkpoints.folder``: nothing but an older tuned model is ever overwritten."""

from __future__ import annotations

import json

import pytest

from ilit.errors import ArtefactError
from ilit_bert.checkpoints.folder import check_output, check_writable, closest_folder, is_tuned, save_tuned
from ilit_pytorch import read_recipe
from ilit_pytorch.artefact.integrity import json_digest


class Tokenizer:
    """Saves a file, as transformers' do."""

    def save_pretrained(self, folder):
        """Write it."""
        (folder / "tokenizer.json").write_text("{}")


@pytest.fixture
def artefact(tmp_path):
    """A folder as an adapter leaves it."""
    folder = tmp_path / "best"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    recipe = {"format": 2, "files": {}}
    (folder / "recipe.json").write_text(json.dumps({**recipe, "digest": json_digest(recipe)}))
    (folder / "README.md").write_text("# Card\n")
    return folder


def test_saved_folder_is_the_artefact_with_its_tokenizer(artefact, tmp_path):
    """The copy is whole, the card has the note, and the original stays."""
    save_tuned(artefact, tmp_path / "out", Tokenizer(), "\n## Task\n")

    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["README.md", "config.json", "recipe.json", "tokenizer.json"]
    assert (tmp_path / "out" / "README.md").read_text() == "# Card\n\n## Task\n"
    assert is_tuned(artefact)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["best", "out"]


def test_the_tokenizer_is_known_by_its_digest(artefact, tmp_path):
    """One that is damaged afterwards is refused; a folder from which it was taken away is not."""
    save_tuned(artefact, tmp_path / "out", Tokenizer(), "")
    file = tmp_path / "out" / "tokenizer.json"
    read_recipe(tmp_path / "out")
    file.write_text("[]")
    with pytest.raises(ArtefactError, match=r"tokenizer\.json: is damaged or was edited"):
        read_recipe(tmp_path / "out")
    file.unlink()
    read_recipe(tmp_path / "out")


def test_relative_output(artefact, tmp_path, monkeypatch):
    """A bare name is a folder in the current one."""
    monkeypatch.chdir(tmp_path)
    save_tuned(artefact, (tmp_path / "out").relative_to(tmp_path), Tokenizer(), "")

    assert is_tuned("out")


def test_closest_is_saved_under_its_own_name(tmp_path):
    """The name says what it is."""
    assert closest_folder(tmp_path / "out") == tmp_path / "out-closest"


@pytest.mark.parametrize("name", ["out", "out-closest"])
@pytest.mark.parametrize(
    ("content", "text"),
    [("file", "is a file; name a new folder"), ("folder", "is not empty and holds no tuned model; name a new or")],
)
def test_what_is_there_is_not_overwritten(name, content, text, tmp_path):
    """Neither the output nor the closest's folder may hold anything else, and that is known before a search."""
    if content == "file":
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").touch()

    with pytest.raises(ArtefactError, match=text):
        check_output(tmp_path / "out")


@pytest.mark.parametrize("content", ["nothing", "empty", "tuned"])
def test_free_outputs(content, artefact, tmp_path):
    """A new folder, an empty one and an older tuned model may be written to."""
    out = tmp_path / "out"
    if content == "empty":
        out.mkdir()
    if content == "tuned":
        artefact.rename(out)

    check_output(out)


def test_nothing_is_left_of_the_try(tmp_path):
    """Parents that had to be made are gone again, and what was there stays."""
    (tmp_path / "there").touch()
    check_output(tmp_path / "new" / "deeper" / "out")

    assert [entry.name for entry in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("name", ["/proc/tuned", "/proc/none/tuned", "file/out", "file/deeper/out", "x" * 250])
def test_folders_that_cannot_be_made(name, tmp_path):
    """They are named before a search, root or not: in /proc, below a file, a name too long for ``-closest``."""
    (tmp_path / "file").touch()
    folder = tmp_path / name

    with pytest.raises(ArtefactError, match="cannot be written") as caught:
        check_output(folder)
    assert str(caught.value).startswith(f"{folder}")
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_full_or_read_only_disks(tmp_path, monkeypatch):
    """What the disk refuses when a file is really written is told, and the try is cleared away."""

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.raises(ArtefactError, match=r"out: cannot be written \(Read-only file system\); name another folder"):
        check_output(tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_the_closest_folder_is_tried_too(tmp_path, monkeypatch):
    """A run that misses needs it."""
    tried = []
    monkeypatch.setattr("ilit_bert.checkpoints.folder.check_writable", tried.append)
    check_output(tmp_path / "out")
    assert tried == [tmp_path / "out", tmp_path / "out-closest"]


@pytest.mark.parametrize("name", ["/", "..", "."])
def test_folders_without_a_name_of_their_own(name, tmp_path, monkeypatch):
    """The current folder and its like cannot be replaced by another."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtefactError, match="no folder of this name can be replaced; name a new folder"):
        check_output(tmp_path.__class__(name))


def test_links_and_mounts(tmp_path, monkeypatch):
    """A link to nothing and a mounted disk cannot be replaced by a folder."""
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(ArtefactError, match="link: is a link to nothing; remove it, or name another folder"):
        check_writable(tmp_path / "link")
    monkeypatch.setattr("pathlib.Path.is_mount", lambda _: True)
    with pytest.raises(ArtefactError, match="is where a disk is mounted, which cannot be replaced; name a folder in"):
        check_writable(tmp_path / "disk")
