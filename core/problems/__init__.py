"""Problems whose answers are known: where the mechanism of an update rule is studied."""
