"""Workers and mergers of summaries, in one process or in several, and what goes between them."""
