"""Analysis of videos: which frames are sound, how far the motion has come, where the face is."""
