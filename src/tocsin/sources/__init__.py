"""Sources: files of foreign formats become batches of canonical records."""
