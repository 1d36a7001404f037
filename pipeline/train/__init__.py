"""Stage ``train``: networks and SVM, trained fold by fold, into a bundle."""
