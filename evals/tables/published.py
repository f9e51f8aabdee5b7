"""Figures that were published, in %, but for MRR, which is a fraction of 1.

LinMem: C. Li, H. Chen, X. Hu, "Linear Attention as a Generalizable Memory Mechanism", blog post, April 2026. M3-Agent:
arXiv 2508.09736v4, table 7. AGPR: MemForest, arXiv 2609.08273. None of them prints an interval.
"""

from collections.abc import Mapping

Figures = Mapping[str, float]
"""By column."""

MAIN: Mapping[str, Figures] = {
    "embedding": {"robot": 28.8, "web": 47.5},
    "softmax": {"robot": 24.5, "web": 49.8},
    "kimi": {"robot": 28.0, "web": 54.0},
    "neighbours": {"robot": 37.2, "web": 54.8},
}

CONTROL: Mapping[str, Figures] = {
    "32b-rl": {"robot": 30.7, "web": 48.9},
    "32b-rl-without-instruction": {"robot": 20.2, "web": 43.1},
    "32b-rl-without-reasoning": {"robot": 19.0, "web": 40.1},
    "32b-prompt": {"robot": 20.7, "web": 40.9},
    "32b-prompt-without-instruction": {"robot": 12.8, "web": 32.3},
    "14b-prompt": {"robot": 18.3, "web": 36.9},
    "8b-prompt": {"robot": 16.4, "web": 35.7},
    "32b-grpo": {"robot": 30.0, "web": 47.7},
    "14b-rl": {"robot": 28.2, "web": 46.9},
    "8b-rl": {"robot": 24.6, "web": 40.5},
}

FORMAT: Mapping[str, Figures] = {"kimi": {"": 31.4}, "structured": {"": 27.1}}
"""LinMem does not say of which questions."""

RETRIEVAL: Mapping[str, Figures] = {
    "kimi, robot": {"10": 56.0, "20": 33.5, "30": 25.8, "50": 12.1, "80": 7.7, "100": 7.1},
    "embedding, robot": {"10": 54.9, "20": 29.7, "30": 19.8, "50": 12.1, "80": 8.8, "100": 8.8},
    "kimi, web": {"10": 56.5, "20": 37.6, "30": 31.2, "50": 18.3, "80": 15.1, "100": 14.5},
    "embedding, web": {"10": 64.5, "20": 40.9, "30": 27.4, "50": 21.0, "80": 20.4, "100": 20.4},
}
"""Exact hit@5 by the number of candidate clips."""

MODELS: Mapping[str, Figures] = {
    "kimi": {"Hit@10": 14.76, "Near hit@10": 19.52, "MRR": 0.049, "Recall@5": 8.10, "Recall@10": 14.76},
    "rwkv": {"Hit@10": 2.38, "Near hit@10": 3.81, "MRR": 0.021, "Recall@5": 2.38, "Recall@10": 2.38},
    "falcon-mamba": {"Hit@10": 1.43, "Near hit@10": 1.43, "MRR": 0.014, "Recall@5": 1.43, "Recall@10": 1.43},
}
"""Of 210 questions; exact and near hit without a depth, of which exact hit is the same as recall@10."""

SUMMARY: Mapping[str, Figures] = {"kimi": {"": 95.0}, "rwkv": {"": 25.0}, "falcon-mamba": {"": 5.0}}
"""Of 20 questions."""

CONTEXT: Mapping[str, int] = {"kimi": 262_144, "softmax": 131_072}
"""Tokens of the longest context on four GPUs of 80 GB; both models were served with just that limit."""
