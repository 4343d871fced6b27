"""Summary statistics: who does too much of something, in time.

Records go into workers, partial results come out; partial results go into mergers, findings come out. Neither knows
how the other is reached. What is counted is said in the settings (`definition.py`), how in `accumulator.py`.
"""
