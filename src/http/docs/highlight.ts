/** The languages of code blocks that have syntax colours: how their comments begin, and their keywords. */
const HASH = /(?:^|(?<=\s))#.*/.source;
const SLASHES = /(?:^|(?<=\s))\/\/.*|\/\*[\s\S]*?\*\//.source;
const STRING = /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`/.source;
// A string of a shell may span lines, as a JSON body does.
const SHELL_STRING = /"(?:[^"\\]|\\.)*"|'[^']*'/.source;

const SCRIPT =
  "as async await break case catch class const continue default delete else export extends false finally for from function if implements import in instanceof interface let new null of readonly return satisfies switch this throw true try type typeof undefined var void while yield";

const LANGUAGES: Readonly<Record<string, readonly [comment: string, string: string, keywords: string]>> = {
  sh: [HASH, SHELL_STRING, "do done elif else export fi for if in then while"],
  toml: [HASH, STRING, "false true"],
  yaml: [HASH, STRING, "false null true"],
  nginx: [HASH, STRING, ""],
  python: [
    HASH,
    `"""[sS]*?"""|${STRING}`,
    "and as async await break class continue def del elif else except False finally for from if import in is lambda None nonlocal not or pass raise return True try while with yield",
  ],
  ruby: [
    HASH,
    STRING,
    "and begin class def do else elsif end ensure false if in loop module nil not or require rescue return then true unless until while yield",
  ],
  js: [SLASHES, STRING, SCRIPT],
  ts: [SLASHES, STRING, SCRIPT],
  json: [SLASHES, STRING, "false null true"],
  go: [
    SLASHES,
    STRING,
    "break case chan const continue default defer else false for func go if import interface map nil package range return select struct switch true type var",
  ],
  php: [
    `${HASH}|${SLASHES}`,
    STRING,
    "as catch class echo else elseif false finally for foreach fn function if namespace new null private public require return static throw true try use while",
  ],
  swift: [
    SLASHES,
    STRING,
    "as async await catch class do else extension false for func guard if import in init let nil private public return self static struct switch throw true try var while",
  ],
  kotlin: [
    SLASHES,
    STRING,
    "as catch class data do else false for fun if import in interface is null object override private return this throw true try val var when while",
  ],
  dart: [
    SLASHES,
    STRING,
    "async await catch class const else extends false final for if import in new null return static this throw true try var void while",
  ],
};

const SAME: Readonly<Record<string, string>> = {
  bash: "sh",
  jsx: "js",
  tsx: "ts",
  javascript: "js",
  typescript: "ts",
  py: "python",
  conf: "nginx",
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (each) => ESCAPES[each] ?? each);
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Code as HTML: comments, strings and keywords of known languages get a class. */
export function highlight(code: string, language: string): string {
  const known = LANGUAGES[SAME[language] ?? language];
  if (known === undefined) return escapeHtml(code);
  const [comment, string, keywords] = known;
  const words = keywords === "" ? "(?!)" : `\\b(?:${keywords.replaceAll(" ", "|")})\\b(?![-.:])`;
  const pattern = new RegExp(`(?<comment>${comment})|(?<string>${string})|(?<keyword>${words})`, "gm");
  let html = "";
  let end = 0;
  for (const match of code.matchAll(pattern)) {
    const [kind] = Object.entries(match.groups ?? {}).find(([, text]) => text !== undefined) ?? [];
    html += `${escapeHtml(code.slice(end, match.index))}<span class="${kind}">${escapeHtml(match[0])}</span>`;
    end = match.index + match[0].length;
  }
  return html + escapeHtml(code.slice(end));
}
