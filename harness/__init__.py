"""Harness proves that a registered model can be made again from its recorded lineage.

The map of the house, in the direction that the data flows:

    cli/            options -> Settings -> one call of `app` -> print -> exit code
    settings.py     flags > environment > harness.toml > defaults
    app.py          the composition root: Settings -> adapters -> pipeline
    pipeline.py     the stages in order, over the families' protocols
    judge.py        comparisons + recipe + policy -> Verdict, or one more run
    record.py       what one verification did and found, as canonical JSON
    policy.py       the operator's acceptance criteria; policyfile.py reads them
    casefile.py     all signed evidence of a version (reading.py verifies each statement,
                    movechain.py orders the stage moves); gating.py decides over it
    stages.py       the signed way through the stages; governing.py the commands of it
    auditing.py     the dossier of a version, over shelf.py and dossier/; offline.py its check
    checking.py     what keeps a repository from being recorded; trusting.py the keys
    pytest_plugin.py  each check of a verification as a test
    recipe.py       recipe.toml -> Recipe
    model.py        the values that flow; errors.py the errors that a user can act on

    registries/     where versions live          add one: a file, a table row, a golden test
    code/           where the code comes from
    data/           where the data comes from
    runtimes/       where one training job runs
    comparators/    how one artifact format is compared
    reporters/      how a record is shown
    attestations/   statements, signatures, keys
    determinism/    what is pinned around and inside the training process
"""

__version__ = "0.1.0"
