"""The record kinds, the finding, and the maps from foreign formats to them."""
