const url = import.meta.env.TOLLGATE_URL ?? 'http://127.0.0.1:8080';

/**
 * Translates a text.
 *
 * @param {string} text
 * @param {string} sourceLanguage - en, zh, … or auto
 * @param {string} targetLanguage
 * @returns {Promise<string>} the translation
 * @throws {Error} with the text that the service gives, to be shown as it is
 */
export async function translateText(text, sourceLanguage, targetLanguage) {
  const response = await fetch(`${url}/translate`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ text, sourceLanguage, targetLanguage }),
  });
  const data = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(data.error ?? `网络请求错误 (HTTP ${response.status})`);
  return data.translation;
}
