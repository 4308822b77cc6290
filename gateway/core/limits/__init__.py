"""How much is let in at once: keys' rates, an account's task slots, failed authentications, memory for bodies."""
