"""What every engine of the shared state has to do, alone as in a fleet."""
