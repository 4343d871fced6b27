"""The pipeline's jobs: ingest, profile, sample, extract, rank, train, score; and their schedule."""
