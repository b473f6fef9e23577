"""The studio: faces, motions and a time line that are edited by hand, in the browser.

`document` is what is edited, `history` its undo, `session_files` its file, `frames` its images;
`queues` decides what is computed next, `jobs` what takes minutes, and `page` (with `widgets` and
`server`) is the only part that imports a library of user interfaces.
"""
