"""Promises of ``ilit_bert.folder``: nothing but an older tuned model is ever overwritten."""

from __future__ import annotations

import pytest

from ilit.errors import ArtefactError
from ilit_bert.folder import check_output, closest_folder, is_tuned, keep


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
    for name in ("recipe.json", "config.json"):
        (folder / name).write_text("{}")
    (folder / "README.md").write_text("# Card\n")
    return folder


def test_kept_folder_is_the_artefact_with_its_tokenizer(artefact, tmp_path):
    """The copy is whole, the card has the note, and the original stays."""
    keep(artefact, tmp_path / "out", Tokenizer(), "\n## Task\n")

    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["README.md", "config.json", "recipe.json", "tokenizer.json"]
    assert (tmp_path / "out" / "README.md").read_text() == "# Card\n\n## Task\n"
    assert is_tuned(artefact)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["best", "out"]


def test_relative_output(artefact, tmp_path, monkeypatch):
    """A bare name is a folder in the current one."""
    monkeypatch.chdir(tmp_path)
    keep(artefact, (tmp_path / "out").relative_to(tmp_path), Tokenizer(), "")

    assert is_tuned("out")


def test_closest_is_kept_under_its_own_name(tmp_path):
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
