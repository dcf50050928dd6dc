"""Reporters. To add one: a file, a row here, a golden test."""

TABLE = {
    "text": "harness.reporters.text:TextReporter",
    "json": "harness.reporters.json:JsonReporter",
    "html": "harness.reporters.html:HtmlReporter",
    "junit": "harness.reporters.junit:JunitReporter",
    "markdown": "harness.reporters.markdown:MarkdownReporter",
    "badge": "harness.reporters.badge:BadgeReporter",
}
GROUP = "harness.reporters"
