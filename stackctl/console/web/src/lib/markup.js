/** Markup from boards, made harmless. The only place where text becomes elements; telemetry never comes here. */

import DOMPurify from "dompurify";
import { marked } from "marked";

const ALLOWED = {
  RETURN_DOM_FRAGMENT: true,
  ALLOWED_TAGS: ["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "hr", "i", "li", "ol", "p", "pre", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ALLOWED_ATTR: ["href", "title"],
  ALLOWED_URI_REGEXP: /^(?:https?:|\/(?!\/)|#)/i,
};

/**
 * @param {string} text markdown, or HTML
 * @returns {DocumentFragment}
 */
export function fragment(text, isHtml = false) {
  return DOMPurify.sanitize(isHtml ? text : marked.parse(text, { async: false }), ALLOWED);
}
