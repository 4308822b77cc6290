"""How an attempt ended and what follows: the table of outcomes, and what puts an answer into it."""
