"""How good are a model's answers, how sure are we, and where is it worse: one idea per module."""
