"""What happens to a model after it was fitted: kept in versions, promoted, rolled back."""
