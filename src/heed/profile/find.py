"""Find the profile of a model: one fitted here, one shipped for these weights, or published heads for this model."""

from importlib.resources import files
from pathlib import Path

from heed.errors import ProfileError
from heed.profile.learned import VERSION as LEARNED
from heed.profile.learned import LearnedProfile
from heed.profile.profile import Profile
from heed.profile.ranking import VERSION as RANKING
from heed.profile.ranking import RankingProfile
from heed.profile.stored import ModelIdentity, read_json
from heed.settings import settings

AnyProfile = Profile | LearnedProfile | RankingProfile
PROFILE_FILE = "profile.json"
NAMES = ("fast", "full")
"""The profiles shipped for one model, by what they are for."""
DEFAULT = "full"


def find_profile(model: ModelIdentity, *, task: str, folder: Path | None = None, name: str | None = None) -> AnyProfile:
    """The profile to use for a task.

    In this order: ``folder`` if given; shipped for these weights under ``name`` if given; fitted on this machine for
    these weights; shipped for these weights; heads published for a model of this name (or a folder so named).

    Raises
    ------
    ProfileError
        If there is none; the message says how to make one.
    """
    if folder is not None:
        return load_profile(folder / PROFILE_FILE if folder.is_dir() else folder)
    own = fitted_folder(settings().profiles_dir, model, task=task) / PROFILE_FILE
    if name is None and own.exists():
        return load_profile(own)
    shipped = [profile for profile in shipped_profiles() if profile.task == task]
    for profile in shipped:
        if model.fingerprint in profile.fingerprints and profile.name in ((name,) if name else ("", DEFAULT)):
            return profile
    for profile in shipped if name is None else ():
        if isinstance(profile, Profile) and not profile.fingerprints and profile.is_named_like(model):
            return profile
    raise ProfileError(
        f"expected a {task} profile {f'named {name!r} ' if name else ''}for {model.name} ({model.fingerprint}), "
        f"found none {'shipped' if name else 'fitted or shipped'}: "
        f"make one with `heed {task} fit --model {model.name} --data FILE.jsonl`"
    )


def fitted_folder(profiles_dir: Path, model: ModelIdentity, *, task: str) -> Path:
    """Where a profile fitted for these weights is kept."""
    return profiles_dir / f"{task}-{model.fingerprint}"


def load_profile(path: Path) -> AnyProfile:
    """Read a profile of any kind.

    Raises
    ------
    ProfileError
        If the file is missing, damaged or of another version.
    """
    version = read_json(path, version=None, kind="profile").get("version")
    if version == RANKING:
        return RankingProfile.load(path)
    return LearnedProfile.load(path) if version == LEARNED else Profile.load(path)


def shipped_profiles() -> tuple[AnyProfile, ...]:
    """All profiles that come with heed."""
    folder = Path(str(files("heed.profile") / "shipped"))
    return tuple(load_profile(path) for path in sorted(folder.glob("*.json")))
