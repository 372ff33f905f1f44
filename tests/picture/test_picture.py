import re
from html import unescape

import pytest

from attention_scene import attention_scene
from heed.errors import InputError
from heed.picture import show
from heed.picture.page import page
from heed.picture.plain import plain


class Verdict:
    def __init__(self, scene):
        self._scene = scene

    def scene(self):
        return self._scene


def test_show_takes_scenes_and_what_describes_itself(scene):
    assert show(scene).scene is scene
    assert show(Verdict(scene)).scene is scene


@pytest.mark.parametrize(
    ("thing", "found"), [(None, "NoneType"), ("text", "str"), (Verdict, "the class Verdict"), (Verdict(3), "Verdict")]
)
def test_show_says_what_can_be_shown(thing, found):
    with pytest.raises(InputError, match=f"a verdict, a citation, a trace, a Scene.*found {found}$"):
        show(thing)


def test_text_and_str_are_the_plain_drawing(scene):
    assert str(show(scene)) == plain(scene)
    assert show(scene).text(width=60, colour=True) == plain(scene, width=60, colour=True)


def test_html_writes_the_page_whole(scene, tmp_path):
    path = tmp_path / "picture.html"
    path.write_text("old")
    assert show(scene).html(path) == page(scene)
    assert path.read_bytes() == page(scene).encode()
    assert [found.name for found in tmp_path.iterdir()] == ["picture.html"]


@pytest.mark.parametrize("form", ["html", "png", "svg"])
@pytest.mark.parametrize("step", ["tempfile.mkstemp", "pathlib.Path.chmod", "pathlib.Path.replace"])
def test_a_picture_that_cannot_be_written_is_said_and_leaves_nothing_behind(scene, tmp_path, monkeypatch, form, step):
    if form != "html":
        pytest.importorskip("matplotlib", reason="needs the extra `figures`")
    picture, path = show(scene), tmp_path / f"picture.{form}"
    getattr(picture, form)()  # loads what it needs, before files cannot be opened

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(step, fail)
        with pytest.raises(InputError, match=rf"expected to write .*{path.name}.*No space left.*another place"):
            getattr(picture, form)(path)
    assert list(tmp_path.iterdir()) == []


def test_html_needs_a_folder_and_a_file_name(scene, tmp_path):
    with pytest.raises(InputError, match=r"expected a folder .*missing.* to write 'x\.html' in, found none"):
        show(scene).html(tmp_path / "missing" / "x.html")
    with pytest.raises(InputError, match="expected the path of a file, found the folder"):
        show(scene).html(tmp_path)


def test_notebooks_show_the_page_in_a_sandbox(scene):
    shown = show(scene)._repr_html_()
    assert shown.startswith("<iframe sandbox srcdoc=")
    srcdoc = re.search(r'srcdoc="([^"]*)"', shown)
    assert srcdoc is not None
    assert unescape(srcdoc.group(1)) == page(scene)


def test_maps_are_a_widget_where_there_is_one_and_else_a_page(monkeypatch):
    picture = show(attention_scene())
    monkeypatch.setattr("heed.picture.picture.find_spec", lambda _: None)
    shown = picture._repr_mimebundle_()
    assert set(shown) == {"text/html", "text/plain"}
    assert "sandbox=allow-scripts srcdoc=" in shown["text/html"]
    pytest.importorskip("anywidget")
    monkeypatch.undo()
    assert "application/vnd.jupyter.widget-view+json" in picture._repr_mimebundle_()


def test_a_page_too_large_for_a_notebook_is_shown_without_its_maps(monkeypatch):
    monkeypatch.setattr("heed.picture.picture._IN_A_NOTEBOOK", 1000)
    shown = show(attention_scene())._repr_html_()
    assert shown.startswith("<iframe sandbox srcdoc=")
    assert "heed-data" not in shown


def test_marked_texts_have_no_maps_to_serve(scene):
    for ask in (show(scene).serve, show(scene).widget):
        with pytest.raises(InputError, match="expected attention maps to ask for"):
            ask()


def test_files_that_are_there_can_be_kept(tmp_path, scene):
    path = tmp_path / "a.html"
    path.write_text("old")
    with pytest.raises(InputError, match=r"expected no file at .*found one"):
        show(scene).html(path, overwrite=False)
    assert path.read_text() == "old"
