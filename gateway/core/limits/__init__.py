"""The limits of what is admitted: keys' rates, an account's task slots, failed authentications, memory for bodies."""
