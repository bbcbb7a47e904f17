// Encrypts or decrypts once with typage: node typage.mjs FOLDER, where FOLDER has the node_modules.
// Standard input is JSON: {recipients: [TEXT]} or {identities: [TEXT]} or {passphrase: TEXT},
// and encrypt: BASE64 or decrypt: BASE64. Standard output is the result as it is.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const module = resolve(process.argv[2], "node_modules/age-encryption/dist/index.js");
const { Decrypter, Encrypter } = await import(pathToFileURL(module));
const task = JSON.parse(readFileSync(0));

async function encrypt(plaintext) {
  const encrypter = new Encrypter();
  for (const recipient of task.recipients ?? []) encrypter.addRecipient(recipient);
  if (task.passphrase !== undefined) encrypter.setPassphrase(task.passphrase);
  return await encrypter.encrypt(plaintext);
}

async function decrypt(ciphertext) {
  const decrypter = new Decrypter();
  for (const identity of task.identities ?? []) decrypter.addIdentity(identity);
  if (task.passphrase !== undefined) decrypter.addPassphrase(task.passphrase);
  return await decrypter.decrypt(ciphertext);
}

const result = "encrypt" in task
  ? await encrypt(Buffer.from(task.encrypt, "base64"))
  : await decrypt(Buffer.from(task.decrypt, "base64"));
process.stdout.write(result);
