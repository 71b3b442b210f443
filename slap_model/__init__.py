"""SLAP: an audio encoder and a frozen text tower in one space, trained from speakers' descriptions."""
