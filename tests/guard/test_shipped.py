"""Where calibrations are looked for: beside a profile given by path, else by its digest among those of heed."""

from importlib.resources import files
from shutil import copyfile

import pytest

from heed.guard import Calibration, Calibrations, Guard
from heed.guard.shipped import CALIBRATION_FILE, find_calibrations
from heed.model import load
from heed.profile import Profile
from tiny import tiny_folder, tiny_profile


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(tiny_folder(tmp_path_factory.mktemp("m") / "tiny"), dtype="float32")


@pytest.fixture(autouse=True)
def _own_profiles(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HEED_PROFILES_DIR", str(tmp_path / "profiles"))


@pytest.mark.parametrize("name", ["", "profile.json", "mine.json"])
def test_a_saved_profile_brings_its_calibration_by_folder_and_by_file(model, tmp_path, name) -> None:
    tiny_profile(tmp_path / (name or "profile.json"))
    made_for = f"{Profile.load(tmp_path / (name or 'profile.json')).digest}/first"
    Calibrations(Calibration(0.25, made_for=made_for)).save(tmp_path / CALIBRATION_FILE)
    verdict = Guard(model, profile=tmp_path / name).check("Sum up.", "Hello.")
    assert (verdict.status, verdict.threshold) == ("ok", 0.25)


def test_a_profile_file_without_a_neighbour_has_the_calibration_shipped_for_it(model, tmp_path) -> None:
    shipped = next(iter(sorted(files("heed.guard").joinpath("calibrations").iterdir(), key=lambda path: path.name)))
    digest = shipped.name.removesuffix(".json")
    known = Calibrations.load(shipped)
    alone = tiny_profile(tmp_path / "alone" / "profile.json")
    for place in (alone, alone.parent):
        assert find_calibrations(model, made_for=f"{digest}/first", beside=place) == known
        assert find_calibrations(model, made_for="none/first", beside=place) is None
    copyfile(shipped, tmp_path / "alone" / CALIBRATION_FILE)
    assert find_calibrations(model, made_for="none/first", beside=alone) == known
