//! Topics, topic filters and the trie between them.
