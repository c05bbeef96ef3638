//! What a distribution socket and its host can be set to.
