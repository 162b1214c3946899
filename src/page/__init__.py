"""The page of src.web: one video, one network, its classes, when and why."""
