"""Captions by a language model: what is asked, who answers, what is believed, and what is kept."""
