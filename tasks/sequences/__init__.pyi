from .counting import Fraction, FractionClasses, Histogram
from .encoding import SequenceEncoding, parse_vocabulary
from .mirror import Palindrome, Reverse
from .ordering import Sort, Triplets
from .peaks import DominantPeak, Peak
from .sequence import SequenceTask

__all__ = [
    "DominantPeak",
    "Fraction",
    "FractionClasses",
    "Histogram",
    "Palindrome",
    "Peak",
    "Reverse",
    "SequenceEncoding",
    "SequenceTask",
    "Sort",
    "Triplets",
    "parse_vocabulary",
]
