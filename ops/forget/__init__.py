"""`threadwax forget`: a user is forgotten in every store, with a receipt and a proof."""
