"""The outcomes of attempts and what follows from them: the outcome table, and the classification of answers."""
