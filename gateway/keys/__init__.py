"""Virtual keys: the service that makes and changes them, their hashes, and the keyring in force."""
