"""How to read a model for a task: weights over heads, fitted or published, versioned, refused for other models."""

from heed.profile.find import DEFAULT as DEFAULT
from heed.profile.find import NAMES as NAMES
from heed.profile.find import PROFILE_FILE as PROFILE_FILE
from heed.profile.find import AnyProfile as AnyProfile
from heed.profile.find import find_profile as find_profile
from heed.profile.find import fitted_folder as fitted_folder
from heed.profile.find import load_profile as load_profile
from heed.profile.find import shipped_profiles as shipped_profiles
from heed.profile.learned import PARTS as PARTS
from heed.profile.learned import LearnedProfile as LearnedProfile
from heed.profile.profile import Baseline as Baseline
from heed.profile.profile import Profile as Profile
from heed.profile.profile import risk as risk
from heed.profile.ranking import RankingProfile as RankingProfile
from heed.profile.stored import read_json as read_json
from heed.profile.stored import write_json as write_json
