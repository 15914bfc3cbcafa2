"""Which files of the standard library mutants are made of, and by which of CPython's tests they are verified.

A file's split is the one that `splits.json` froze before the family was trained; `train` takes files of `corpus` too.
Left out are files whose tests fail when the file is imported anew (unittest.mock, asyncio.futures), that need minutes
(logging.handlers, asyncio.runners, multiprocessing), and those whose tests never call them. A few that are listed need
what the sandbox has not (asynchat, http.server, smtpd, telnetlib, robotparser: a network; tarfile: the name of root;
traceback: a test extension): the build says so, leaves them out, and names them in the index.
"""

from __future__ import annotations

from collections.abc import Mapping

from superalign.tasks.executing import Subject
from superalign.tasks.stdlib import index

_TESTS: Mapping[str, str] = {
    # train
    "_strptime.py": "test_strptime",
    "argparse.py": "test_argparse",
    "cgi.py": "test_cgi",
    "colorsys.py": "test_colorsys",
    "copy.py": "test_copy",
    "csv.py": "test_csv",
    "dataclasses.py": "test_dataclasses",
    "difflib.py": "test_difflib",
    "email/_header_value_parser.py": "test_email.test__header_value_parser",
    "fileinput.py": "test_fileinput",
    "fnmatch.py": "test_fnmatch",
    "fractions.py": "test_fractions",
    "functools.py": "test_functools",
    "getopt.py": "test_getopt",
    "gettext.py": "test_gettext",
    "graphlib.py": "test_graphlib",
    "heapq.py": "test_heapq",
    "html/__init__.py": "test_html",
    "http/cookiejar.py": "test_http_cookiejar",
    "http/cookies.py": "test_http_cookies",
    "ipaddress.py": "test_ipaddress",
    "mimetypes.py": "test_mimetypes",
    "plistlib.py": "test_plistlib",
    "pprint.py": "test_pprint",
    "quopri.py": "test_quopri",
    "random.py": "test_random",
    "re/_parser.py": "test_re",
    "reprlib.py": "test_reprlib",
    "string.py": "test_string",
    "textwrap.py": "test_textwrap",
    "urllib/robotparser.py": "test_robotparser",
    "wave.py": "test_wave",
    "xdrlib.py": "test_xdrlib",
    # dev
    "asynchat.py": "test_asynchat",
    "bisect.py": "test_bisect",
    "chunk.py": "test_aifc",
    "doctest.py": "test_doctest test_doctest2",
    "email/quoprimime.py": "test_email.test_email",
    "getpass.py": "test_getpass",
    "http/server.py": "test_httpservers",
    "netrc.py": "test_netrc",
    "secrets.py": "test_secrets",
    "shlex.py": "test_shlex",
    "smtpd.py": "test_smtpd",
    "statistics.py": "test_statistics",
    "sunau.py": "test_sunau",
    # validation
    "asyncio/base_events.py": "test_asyncio.test_base_events",
    "code.py": "test_code_module",
    "collections/__init__.py": "test_collections test_ordered_dict test_userdict test_userlist test_userstring",
    "datetime.py": "test_datetime",
    "distutils/filelist.py": "distutils.tests.test_filelist",
    "distutils/versionpredicate.py": "distutils.tests.test_versionpredicate",
    "email/header.py": "test_email.test_email",
    "enum.py": "test_enum",
    "genericpath.py": "test_genericpath test_posixpath",
    "html/parser.py": "test_htmlparser",
    "imp.py": "test_imp",
    "importlib/metadata/__init__.py": "test_importlib.test_metadata_api test_importlib.test_main",
    "nntplib.py": "test_nntplib",
    "optparse.py": "test_optparse",
    "sched.py": "test_sched",
    "shutil.py": "test_shutil",
    "tarfile.py": "test_tarfile",
    "tomllib/_parser.py": "test_tomllib.test_data test_tomllib.test_error test_tomllib.test_misc",
    "traceback.py": "test_traceback",
    "unittest/signals.py": "unittest.test.test_break",
    "urllib/parse.py": "test_urlparse test_urllib",
    "urllib/response.py": "test_urllib_response test_urllib",
    "wsgiref/util.py": "test_wsgiref",
    "xml/dom/minicompat.py": "test_xml_dom_minicompat test_minidom",
    # test
    "base64.py": "test_base64",
    "cgitb.py": "test_cgitb",
    "cmd.py": "test_cmd",
    "configparser.py": "test_configparser",
    "crypt.py": "test_crypt",
    "distutils/cmd.py": "distutils.tests.test_cmd",
    "distutils/config.py": "distutils.tests.test_config",
    "distutils/dist.py": "distutils.tests.test_dist",
    "gzip.py": "test_gzip",
    "linecache.py": "test_linecache",
    "ntpath.py": "test_ntpath",
    "nturl2path.py": "test_urllib",
    "pydoc.py": "test_pydoc",
    "telnetlib.py": "test_telnetlib",
    "tokenize.py": "test_tokenize",
    "unittest/result.py": "unittest.test.test_result",
    "wsgiref/headers.py": "test_wsgiref",
    "xml/etree/ElementPath.py": "test_xml_etree",
    "xml/sax/handler.py": "test_sax",
}
_SKIP = {"datetime.py": "Fast", "doctest.py": "test_unicode"}
"""The C accelerator's half of the tests; a test that expects a line number of the file itself."""


def subjects(split: str) -> tuple[Subject, ...]:
    """The subjects of a split, in order of path.

    Example: `[s.path for s in subjects("dev")][:2] == ["asynchat.py", "bisect.py"]`
    """
    files = index()["files"]
    home = {"corpus": "train"}
    return tuple(
        Subject(path=path, tests=tuple(_full(name) for name in tests.split()), skip=_SKIP.get(path, ""))
        for path, tests in sorted(_TESTS.items())
        if home.get(files[path]["split"], files[path]["split"]) == split
    )


def _full(name: str) -> str:
    return name if name.startswith(("distutils.", "unittest.")) else f"test.{name}"
