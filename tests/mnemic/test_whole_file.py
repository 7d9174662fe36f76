"""A file that is written as a whole or not at all."""

import pytest

from mnemic.whole_file import whole_file


def test_it_replaces_what_was_there(tmp_path):
    target = tmp_path / "page.html"
    target.write_text("before")
    with whole_file(target) as partial:
        partial.write_text("after")
        assert target.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"] and target.read_text() == "after"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_changes_where_the_writing_fails(tmp_path, error):
    target = tmp_path / "page.html"
    target.write_text("before")
    with pytest.raises(type(error)), whole_file(target) as partial:
        partial.write_text("half")
        raise error
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"] and target.read_text() == "before"
