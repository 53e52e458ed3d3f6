"""`python -m experiments.ope.make_digits`: the digits of scikit-learn, with the predictions of two classifiers."""

import numpy as np

from experiments.ope.digits import DATA

SEED, HELD_OUT = 12345, 0.7


def main() -> None:
    """Train both classifiers on three tenths of the images and write their predictions for the rest to `digits.npz`."""
    from sklearn.datasets import load_digits  # pyright: ignore[reportMissingImports]
    from sklearn.ensemble import RandomForestClassifier  # pyright: ignore[reportMissingImports]
    from sklearn.linear_model import LogisticRegression  # pyright: ignore[reportMissingImports]
    from sklearn.model_selection import train_test_split  # pyright: ignore[reportMissingImports]

    pixels, labels = load_digits(return_X_y=True)
    train, held_out, train_labels, held_out_labels = train_test_split(
        pixels, labels, test_size=HELD_OUT, random_state=SEED
    )
    behaviour = LogisticRegression(max_iter=10_000, random_state=SEED).fit(train, train_labels)
    target = RandomForestClassifier(random_state=SEED).fit(train, train_labels)
    predicted = [classifier.predict(held_out).astype(np.uint8) for classifier in (behaviour, target)]
    np.savez_compressed(
        DATA, pixels=held_out.astype(np.uint8), labels=held_out_labels.astype(np.uint8), behaviour=predicted[0],
        target=predicted[1],
    )  # fmt: skip


if __name__ == "__main__":
    main()
