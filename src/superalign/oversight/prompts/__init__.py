"""What a judge is asked, in words: prompts for models as markdown files with front matter, and a page for people.

prompt = load_prompt("verdict")                  # ships with superalign; a path to a file of your own works too
print(rendered(prompt, view, (0, 1)))            # what a model reads
"""

from superalign.evidence.visible import visible
from superalign.oversight.prompts.rendering import rendered
from superalign.oversight.prompts.telling import LETTERS
from superalign.oversight.prompts.template import Prompt, PromptError, load_prompt, parse_prompt

__all__ = ["LETTERS", "Prompt", "PromptError", "load_prompt", "parse_prompt", "rendered", "visible"]
