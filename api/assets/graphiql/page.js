"use strict";
// The token lives in this variable and nowhere else: closing the page forgets it.
let token = "";
const state = document.getElementById("state");

async function ask(parameters) {
  if (token === "") return { errors: [{ message: "Paste a token into the field above first." }] };
  const answer = await fetch("/graphql", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/graphql-response+json, application/json",
      authorization: `Bearer ${token}`,
    },
    body: JSON.stringify({
      query: parameters.query,
      operationName: parameters.operationName ?? undefined,
      variables: parameters.variables ?? undefined,
    }),
  });
  return answer.json();
}

// What was typed is kept by GraphiQL between visits, in this browser; variables may hold more than
// that should, so nothing is kept.
const forgetful = { getItem: () => null, setItem() {}, removeItem() {}, clear() {}, length: 0 };

const first = `# The newest commands, and what they did.
{
  commands(first: 5) {
    edges {
      node {
        id
        type
        status
        createdAt
        actions(first: 3) { edges { node { actionType platform state effect } } }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

const root = ReactDOM.createRoot(document.getElementById("graphiql"));
function show() {
  // A new key makes GraphiQL ask for the schema again, as the new token sees it.
  root.render(React.createElement(GraphiQL, {
    key: token === "" ? "nobody" : "somebody",
    fetcher: (parameters) => (parameters.operationName === "IntrospectionQuery" && token === ""
      ? { data: null } : ask(parameters)),
    storage: forgetful,
    defaultQuery: first,
    shouldPersistHeaders: false,
    isHeadersEditorEnabled: false,
    ...(token === "" ? { schema: null } : {}),
  }));
}

document.getElementById("who").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  token = field.value.trim();
  field.value = "";
  const answer = token === "" ? {} : await ask({ query: "{ __typename }" });
  if (answer.data) {
    state.textContent = "The token is in use.";
  } else {
    token = "";
    state.textContent = answer.detail ?? answer.errors?.[0]?.message ?? "Paste a token. It stays in this page's memory.";
  }
  show();
});
show();
