"""The data dictionary of `runs.csv`: one row a run, and what each column means."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Kind = Literal["text", "integer", "number", "percent", "json"]


class Column(NamedTuple):
    """One column.

    Args:
        unit: of the values; empty for names and texts.
        meaning: one sentence.
        kind: how a cell is read. `percent` is a number from 0 to 100, `json` a text that holds a JSON value.
    """

    unit: str
    meaning: str
    kind: Kind


# In the order in which they are written.
COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "row": Column("", "position of the label in the experiment, from 0", "integer"),
        "label": Column("", "the head's name in the table", "text"),
        "head": Column("", "name of the head", "text"),
        "options": Column("", "the head's options as written", "json"),
        "formula": Column("", "attention weights of one block by formula", "text"),
        "shared_with": Column("", "further labels (row, label, head, options, formula) of this run", "json"),
        "key": Column("", "hash of the resolved configuration and the seed: the run's name", "text"),
        "network": Column("", "the same hash without the seed: runs that share it are replicates", "text"),
        "seed": Column("", "of initial weights, order and augmentation", "integer"),
        "status": Column("", "`done`; `diverged`: the loss was no number; `pruned`: a search stopped it", "text"),
        "experiment": Column("", "name of the experiment", "text"),
        "data": Column("", "name of the data set", "text"),
        "data_n_train": Column("images", "trained on", "integer"),
        "data_n_validation": Column("images", "held out of training, for choices", "integer"),
        "data_n_test": Column("images", "measured on once, at the end", "integer"),
        "image_size": Column("pixels", "side of an image", "integer"),
        "num_classes": Column("classes", "of the data set", "integer"),
        "fingerprint": Column("", "hash of the data's content", "text"),
        "backbone": Column("", "the network the heads are put into", "text"),
        "stem": Column("", "`imagenet` or `cifar`", "text"),
        "width": Column("", "multiplier of the backbone's channels", "number"),
        "kernel_sizes": Column("", "k of each stage, as in `3-5-5-7`; empty for heads without k", "text"),
        "blocks": Column("", "the head of every block, k resolved", "json"),
        "head_weights": Column("weights", "in all heads together", "integer"),
        "weights": Column("weights", "in the whole network, heads included", "integer"),
        "macs": Column("multiply-adds", "of one image through the whole network", "integer"),
        "epochs": Column("epochs", "trained for", "integer"),
        "val_top1": Column("percent", "right on validation after the last epoch", "percent"),
        "val_top5": Column("percent", "among the best five on validation", "percent"),
        "val_loss": Column("nats", "cross-entropy on validation", "number"),
        "test_top1": Column("percent", "right on test after the last epoch", "percent"),
        "test_top5": Column("percent", "among the best five on test", "percent"),
        "test_loss": Column("nats", "cross-entropy on test", "number"),
        "train_loss": Column("nats", "mean loss over the last epoch", "number"),
        "seconds": Column("seconds", "of training, evaluation included", "number"),
        "images_per_second": Column("images/second", "trained on, augmentation included", "number"),
        "device": Column("", "what it was trained on", "text"),
        "precision": Column("", "`fp32` or `bf16`", "text"),
        "threads": Column("threads", "of the CPU, a run", "integer"),
        "recipe": Column("", "everything about training, resolved", "json"),
        "python": Column("", "version", "text"),
        "torch": Column("", "version", "text"),
        "torchvision": Column("", "version", "text"),
        "lightning": Column("", "version", "text"),
        "torchmetrics": Column("", "version", "text"),
        "optuna": Column("", "version", "text"),
        "eca_ablate": Column("", "version", "text"),
        "code_version": Column("", "commit of the code, if known", "text"),
        "semantics": Column("", "version of the training code's meaning", "integer"),
        "finished_at": Column("", "date and time in UTC", "text"),
    }
)

# Without these no table can be made; any other column may be missing and is then empty.
REQUIRED = ("label", "key", "seed")
NEVER_EMPTY = (*REQUIRED, "network", "status")  # where the column is there
STATUSES = ("done", "diverged", "pruned")
METRICS = ("val_top1", "val_top5", "test_top1", "test_top5")
# What a further label of a shared run replaces.
SHARED = ("row", "label", "head", "options", "formula")
