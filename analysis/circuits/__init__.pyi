from .faithfulness import area, circuit_curve, evaluate_circuit
from .graph import ModelGraph, model_graph
from .scores import METHODS, EdgeScores, edge_scores
from .scrubbing import Scrubbing, scrub
from .selection import above, connected, greedy, ranked, top
from .setting import Setting, setting
from .truth import against_truth, missed

__all__ = [
    "METHODS",
    "EdgeScores",
    "ModelGraph",
    "Scrubbing",
    "Setting",
    "above",
    "against_truth",
    "area",
    "circuit_curve",
    "connected",
    "edge_scores",
    "evaluate_circuit",
    "greedy",
    "missed",
    "model_graph",
    "ranked",
    "scrub",
    "setting",
    "top",
]
