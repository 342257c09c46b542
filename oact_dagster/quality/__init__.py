"""What a good result is: rules over what the output of a completed structure holds."""
