"""The service's end of the hand: started when it is needed, watched, replaced."""
