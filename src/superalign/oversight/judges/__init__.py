"""Judges: whoever believes something by what it is shown."""

from superalign.oversight.judges.adapted import AdaptedJudge, adapted
from superalign.oversight.judges.flawed import Biased, Lazy, Noisy
from superalign.oversight.judges.likelihood import LikelihoodJudge
from superalign.oversight.judges.person import NotSearchable, PersonJudge, Stopped, no_search
from superalign.oversight.judges.picture import PictureJudge
from superalign.oversight.judges.pixels import PixelJudge, train_pixel_judge
from superalign.oversight.judges.prompted import Habits, PromptedJudge
from superalign.oversight.judges.reader import ReaderJudge
from superalign.oversight.judges.reader_training import train_reader

__all__ = [
    "AdaptedJudge",
    "Biased",
    "Habits",
    "Lazy",
    "LikelihoodJudge",
    "Noisy",
    "NotSearchable",
    "PersonJudge",
    "PictureJudge",
    "PixelJudge",
    "PromptedJudge",
    "ReaderJudge",
    "Stopped",
    "adapted",
    "no_search",
    "train_pixel_judge",
    "train_reader",
]
