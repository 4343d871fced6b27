"""The verdict: what turns scores into findings, in one place for every detector."""
